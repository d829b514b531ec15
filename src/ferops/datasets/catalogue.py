"""The data sets that ferops can read: what they are, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """`tight`: the images are face crops already, so a detector has little around the face to work with."""

    name: str
    title: str
    release: str
    licence: str
    citation: str
    tight: bool = False

    @property
    def needs_path(self) -> bool:
        return self.name != "synthetic"


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="affectnet",
            title="AffectNet (people's labels)",
            release=(
                "the folder with training.csv, validation.csv and Manually_Annotated_Images/, or train_set/ and "
                "val_set/ with images/ and annotations/, or train/<class>/ and val/<class>/"
            ),
            licence=(
                "by an agreement that a professor or head of a laboratory signs, for non-commercial research; the "
                "images are from the web and belong to their owners"
            ),
            citation=(
                "A. Mollahosseini, B. Hasani, M. H. Mahoor, AffectNet: A Database for Facial Expression, Valence, and "
                "Arousal Computing in the Wild, IEEE Transactions on Affective Computing 10(1), 2019, arXiv:1708.03985"
            ),
        ),
        Source(
            name="ckplus",
            title="CK+ (Extended Cohn-Kanade)",
            release=(
                "the folder with cohn-kanade-images/ and Emotion/ or their zips as published, or the 48 px release of "
                "class folders, anger/S010_004_00000017.png"
            ),
            licence=(
                "by an agreement with its authors, for research; print only images of the people who agreed to it "
                "(Consent-for-publication in the release)"
            ),
            citation=(
                "P. Lucey et al., The Extended Cohn-Kanade Dataset (CK+): A complete dataset for action unit and "
                "emotion-specified expression, CVPR Workshops 2010; T. Kanade, J. F. Cohn, Y. Tian, Comprehensive "
                "database for facial expression analysis, FG 2000"
            ),
        ),
        Source(
            name="fairface",
            title="FairFace (age, gender and race of faces; no expressions, for audits)",
            release=(
                "the folder with fairface_label_train.csv, fairface_label_val.csv and "
                "fairface-img-margin125-trainval.zip or fairface-img-margin025-trainval.zip"
            ),
            licence=(
                "CC BY 4.0, as its README says; the images are Flickr users' under Creative Commons licences, and "
                "the people in them were not asked"
            ),
            citation=(
                "K. Kärkkäinen, J. Joo, FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age for Bias "
                "Measurement and Mitigation, WACV 2021"
            ),
        ),
        Source(
            name="fer2013",
            title="FER2013 (Facial Expression Recognition challenge, ICML 2013)",
            release=(
                "fer2013.csv or icml_face_data.csv (with FERPlus's fer2013new.csv beside it, or without), or a folder "
                "with train/<class>/*.jpg and test/<class>/*.jpg as on Kaggle (with --votes FILE, or without); each as "
                "it is or in an archive"
            ),
            licence=(
                "no licence covers the images, which a web search collected without asking the people in them; "
                "use it for research only, and observe the law of your country"
            ),
            citation=(
                "I. J. Goodfellow et al., Challenges in Representation Learning: A report on three machine learning "
                "contests, ICONIP 2013, arXiv:1307.0414; with votes also E. Barsoum et al., Training Deep Networks for "
                "Facial Expression Recognition with Crowd-Sourced Label Distribution, ICMI 2016, arXiv:1608.01041"
            ),
            tight=True,
        ),
        Source(
            name="folder",
            title="your own images, a folder for each class",
            release=(
                "a folder or an archive with a folder for each class: anger, disgust, fear, happy, sad, surprised, "
                "neutral, contempt, or common words for them"
            ),
            licence="whatever applies to your images; the people in them have a say, too",
            citation="yours to add",
        ),
        Source(
            name="jaffe",
            title="JAFFE (Japanese Female Facial Expression)",
            release="the folder or archive of images named like KA.AN1.39.tiff",
            licence="granted by its authors on request, for non-commercial research that cites the source",
            citation=(
                "M. J. Lyons, S. Akamatsu, M. Kamachi, J. Gyoba, Coding Facial Expressions with Gabor Wavelets, "
                "FG 1998, doi:10.1109/AFGR.1998.670949; see also arXiv:2009.05938"
            ),
        ),
        Source(
            name="rafdb",
            title="RAF-DB, basic expressions (Real-world Affective Faces Database)",
            release=(
                "the folder basic/ with EmoLabel/list_patition_label.txt, Image/aligned or Image/original, and "
                "Annotation/manual, as folders or zips"
            ),
            licence=(
                "by an agreement with its authors, for non-commercial research; the images are from the web and "
                "belong to their owners"
            ),
            citation=(
                "S. Li, W. Deng, J. Du, Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression "
                "Recognition in the Wild, CVPR 2017"
            ),
            tight=True,
        ),
        Source(
            name="synthetic",
            title="ferops synthetic faces (rendered, no photographs)",
            release="generated on the spot from the seed",
            licence="Apache-2.0, as the project; no person is shown",
            citation="generated by ferops.datasets.synthetic; figures on it say nothing about real faces",
        ),
    )
}
