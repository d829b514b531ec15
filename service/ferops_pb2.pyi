from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("image", "explain", "crops", "blur")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    BLUR_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    explain: bool
    crops: bool
    blur: bool
    def __init__(self, image: _Optional[bytes] = ..., explain: _Optional[bool] = ..., crops: _Optional[bool] = ..., blur: _Optional[bool] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("image", "name")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    name: str
    def __init__(self, image: _Optional[bytes] = ..., name: _Optional[str] = ...) -> None: ...

class BatchAnswer(_message.Message):
    __slots__ = ("images", "images_found", "images_answered", "left_out", "max_images", "max_mb")
    class LeftOutEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FOUND_FIELD_NUMBER: _ClassVar[int]
    IMAGES_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_MB_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[BatchImage]
    images_found: int
    images_answered: int
    left_out: _containers.ScalarMap[str, int]
    max_images: int
    max_mb: float
    def __init__(self, images: _Optional[_Iterable[_Union[BatchImage, _Mapping]]] = ..., images_found: _Optional[int] = ..., images_answered: _Optional[int] = ..., left_out: _Optional[_Mapping[str, int]] = ..., max_images: _Optional[int] = ..., max_mb: _Optional[float] = ...) -> None: ...

class BatchImage(_message.Message):
    __slots__ = ("name", "answer", "code", "error")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    answer: Answer
    code: str
    error: str
    def __init__(self, name: _Optional[str] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., code: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    def __init__(self, image: _Optional[bytes] = ...) -> None: ...

class StreamReply(_message.Message):
    __slots__ = ("answer", "refusal")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    answer: StreamAnswer
    refusal: FrameRefusal
    def __init__(self, answer: _Optional[_Union[StreamAnswer, _Mapping]] = ..., refusal: _Optional[_Union[FrameRefusal, _Mapping]] = ...) -> None: ...

class StreamAnswer(_message.Message):
    __slots__ = ("frame", "frames_dropped", "status", "faces", "faces_found", "width", "height", "timing_ms")
    class TimingMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DROPPED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    FACES_FOUND_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIMING_MS_FIELD_NUMBER: _ClassVar[int]
    frame: int
    frames_dropped: int
    status: str
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    faces_found: int
    width: int
    height: int
    timing_ms: _containers.ScalarMap[str, float]
    def __init__(self, frame: _Optional[int] = ..., frames_dropped: _Optional[int] = ..., status: _Optional[str] = ..., faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., faces_found: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., timing_ms: _Optional[_Mapping[str, float]] = ...) -> None: ...

class FrameRefusal(_message.Message):
    __slots__ = ("code", "error", "retry_after_s")
    CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    code: str
    error: str
    retry_after_s: float
    def __init__(self, code: _Optional[str] = ..., error: _Optional[str] = ..., retry_after_s: _Optional[float] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("status", "faces", "faces_found", "faces_returned", "first_frame_only", "classes", "width", "height", "rotation", "model_version", "data_version", "timing_ms", "notice", "extras")
    class TimingMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    FACES_FOUND_FIELD_NUMBER: _ClassVar[int]
    FACES_RETURNED_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_ONLY_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMING_MS_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    EXTRAS_FIELD_NUMBER: _ClassVar[int]
    status: str
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    faces_found: int
    faces_returned: int
    first_frame_only: bool
    classes: _containers.RepeatedScalarFieldContainer[str]
    width: int
    height: int
    rotation: int
    model_version: str
    data_version: str
    timing_ms: _containers.ScalarMap[str, float]
    notice: str
    extras: Extras
    def __init__(self, status: _Optional[str] = ..., faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., faces_found: _Optional[int] = ..., faces_returned: _Optional[int] = ..., first_frame_only: _Optional[bool] = ..., classes: _Optional[_Iterable[str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., rotation: _Optional[int] = ..., model_version: _Optional[str] = ..., data_version: _Optional[str] = ..., timing_ms: _Optional[_Mapping[str, float]] = ..., notice: _Optional[str] = ..., extras: _Optional[_Union[Extras, _Mapping]] = ...) -> None: ...

class Face(_message.Message):
    __slots__ = ("label", "confidence", "status", "probabilities", "box", "landmarks", "detection_score", "set", "track")
    class ProbabilitiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class LandmarksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Point
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    DETECTION_SCORE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    label: str
    confidence: float
    status: str
    probabilities: _containers.ScalarMap[str, float]
    box: Box
    landmarks: _containers.MessageMap[str, Point]
    detection_score: float
    set: _containers.RepeatedScalarFieldContainer[str]
    track: int
    def __init__(self, label: _Optional[str] = ..., confidence: _Optional[float] = ..., status: _Optional[str] = ..., probabilities: _Optional[_Mapping[str, float]] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., landmarks: _Optional[_Mapping[str, Point]] = ..., detection_score: _Optional[float] = ..., set: _Optional[_Iterable[str]] = ..., track: _Optional[int] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x1", "y1", "x2", "y2")
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    X2_FIELD_NUMBER: _ClassVar[int]
    Y2_FIELD_NUMBER: _ClassVar[int]
    x1: float
    y1: float
    x2: float
    y2: float
    def __init__(self, x1: _Optional[float] = ..., y1: _Optional[float] = ..., x2: _Optional[float] = ..., y2: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class Extras(_message.Message):
    __slots__ = ("heat", "faces_explained", "crops", "blurred")
    HEAT_FIELD_NUMBER: _ClassVar[int]
    FACES_EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    BLURRED_FIELD_NUMBER: _ClassVar[int]
    heat: _containers.RepeatedCompositeFieldContainer[Heat]
    faces_explained: int
    crops: _containers.RepeatedScalarFieldContainer[bytes]
    blurred: bytes
    def __init__(self, heat: _Optional[_Iterable[_Union[Heat, _Mapping]]] = ..., faces_explained: _Optional[int] = ..., crops: _Optional[_Iterable[bytes]] = ..., blurred: _Optional[bytes] = ...) -> None: ...

class Heat(_message.Message):
    __slots__ = ("method", "cells", "fall")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    FALL_FIELD_NUMBER: _ClassVar[int]
    method: str
    cells: _containers.RepeatedCompositeFieldContainer[Row]
    fall: float
    def __init__(self, method: _Optional[str] = ..., cells: _Optional[_Iterable[_Union[Row, _Mapping]]] = ..., fall: _Optional[float] = ...) -> None: ...

class Row(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...
