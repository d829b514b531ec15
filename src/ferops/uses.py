"""What the classifier is for and what it must not be used for: one text for card, report and /info.

Sources: Regulation (EU) 2024/1689 (AI Act), Art. 5(1)(f), Art. 50(3) and Annex III, point 1(c); L. F. Barrett
et al., "Emotional Expressions Reconsidered", Psychological Science in the Public Interest 20(1), 2019.
"""

from __future__ import annotations

DISCLAIMER = (
    "The output is the label that people would give to the expression visible in an image. It is not what "
    "the person feels: the same expression goes with different feelings, and the same feeling with different "
    "expressions, from one person, culture and moment to the next (Barrett et al. 2019)."
)
"""One paragraph that goes wherever a prediction is shown."""

INTENDED = (
    "Research on facial-expression recognition: baselines, ablations, studies of error, bias and robustness.",
    "Teaching practitioners how such a model is trained, judged, promoted and served.",
    "Aids that describe a visible expression to the person who asked for it, such as a blind user's camera.",
    "Games and art in which the person photographed takes the photo and nothing about them is kept.",
    "Usability studies with volunteers who gave informed consent and can withdraw it.",
)
"""Uses that the project was made for; each needs its own check on images like those it will see."""

OUT_OF_SCOPE = (
    "Inferring emotions, moods, intentions, honesty, health or personality.",
    "Decisions about a person: credit, insurance, policing, borders, benefits, housing, justice, medicine.",
    "Children, unless a guardian agreed and the model was judged on images of children.",
    "Profiles, masks, drawings and other images unlike those of the test set: nothing was measured there.",
    "Images of people who do not know of it. In the European Union an emotion recognition system is high-risk "
    "(AI Act, Annex III, point 1(c)), and whoever deploys it must inform those exposed to it (Art. 50(3)).",
)
"""Uses that nothing measured here supports, or that it speaks against."""

PROHIBITED = (
    "Inferring emotions of people at work, call centres and meetings included, other than for medical or "
    "safety reasons: prohibited in the European Union by the AI Act, Art. 5(1)(f).",
    "Inferring emotions of pupils, students or examinees in education, other than for medical or safety "
    "reasons: prohibited by the same article.",
    "Hiring, promotion, dismissal or any screening of applicants, anywhere: the project does not allow it.",
)
"""Uses that the law forbids or the project does not allow; no deployment may declare one of them."""
