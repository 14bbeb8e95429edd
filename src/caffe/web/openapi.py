"""The description of the addresses that programs may ask, in the form of OpenAPI 3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from ..layers.description import Family
from ..mode import PRECISIONS
from ..version import __version__
from .inside import SCALES
from .models import DEVICES
from .reasons import ASKED_AT, METHODS

if TYPE_CHECKING:
    from .service import Service

Json = dict[str, Any]

_REASONS = {
    400: "The request, the link or an option is not as it must be.",
    404: "There is no such model, layer or class.",
    406: "A PNG was asked for, and there are only values.",
    408: "The upload took too long.",
    413: "The picture has too many bytes or pixels.",
    415: "This is no picture in a format that is read.",
    422: "The model does something else, or the layer has no maps that the class comes from.",
    501: "Graphviz is not installed here.",
    502: "The link's server gave no picture.",
    503: "All places are taken; the header Retry-After says when to try again.",
    504: "The link took too long.",
}
_TAKING_PICTURES = (400, 404, 408, 413, 415, 502, 503, 504)


def description(service: Service) -> Json:
    """Describe a service's addresses."""
    models = list(service.offers)
    paths = {
        "/classify": _post(
            "Classify a picture",
            "The most probable classes of a picture, with the time it took. Requests that come "
            "together go through the net together.",
            [*_modes(models), _query("top", "How many classes.", _whole(5)), _SEEN],
            _CLASSIFIED,
            (*_TAKING_PICTURES, 422),
        ),
        "/detect": _post(
            "Find the objects in a picture",
            "For models that find objects (`task` is boxes): each with its box, xmin, ymin, xmax, "
            "ymax in the picture's pixels, the surest first.",
            [*_modes(models), _query("threshold", "The least score.", _share(0.5))],
            _object(threshold={"type": "number"}, detections=_DETECTIONS),
            (*_TAKING_PICTURES, 422),
        ),
        "/segment": _post(
            "Tell what each place of a picture shows",
            "For models whose output has height and width (`task` is areas): a PNG to lay over "
            "`seen`, the picture in that size, which colours each class, and how much of the "
            "picture each class covers.",
            _modes(models),
            _object(classes=_AREAS, mask=_PNG, seen=_PNG),
            (*_TAKING_PICTURES, 422),
        ),
        "/responses": _post(
            "A layer's responses to a picture",
            "The maps of the layer's first top, tiled in one PNG (row by row, `columns` in a row, "
            "`tile` gives height and width of each), or its values where it has no height and "
            "width. The net runs up to this layer, in float32.",
            [*_modes(models), *_maps("layer"), _SCALE],
            _TILED,
            (*_TAKING_PICTURES, 406),
            "tiles",
        ),
        "/grad-cam": _post(
            "Grad-CAM: where a class is seen",
            "A PNG to lay over the picture as the net sees it, `seen`.",
            [*_modes(models), *_EXPLAINED],
            _EXPLANATION,
            (*_TAKING_PICTURES, 422),
            "map",
        ),
        "/explain": _post(
            "Where a class is seen, by several methods",
            "As `/grad-cam`; `saliency` and `integrated-gradients` tell of each pixel, `occlusion` "
            "hides one part of the picture after the other, which takes some seconds.",
            [
                *_modes(models),
                _query("by", "How.", {"enum": list(METHODS), "default": METHODS[0]}),
                *_EXPLAINED,
            ],
            _EXPLANATION,
            (*_TAKING_PICTURES, 422),
            "map",
        ),
        "/fetch": {
            "post": {
                "summary": "The picture that a link leads to",
                "description": "From public web addresses only.",
                "requestBody": {"required": True, "content": {"application/json": _LINK}},
                "responses": _responses({"image/*": {}}, _TAKING_PICTURES),
            }
        },
        "/models": _get(
            "Models, devices, precisions and limits",
            "What can be chosen, and why what cannot be chosen cannot.",
            [],
            _object(default=_TEXT, models=_LIST, devices=_LIST, limits={"type": "object"}),
            (),
        ),
        "/models/{model}": _get(
            "A net's layers",
            "In running order, with shapes and parameters.",
            [_path(models)],
            _object(task=_TASK, layers=_LAYERS, parameters=_whole(), grad_cam_layer=_TEXT),
        ),
        "/models/{model}/labels": _get(
            "The names of the classes", "In order.", [_path(models)], _object(labels=_LIST)
        ),
        "/models/{model}/filters": _get(
            "A layer's filters",
            "One of its parameter blobs: tiles in one PNG, a matrix, or values.",
            [
                _path(models),
                *_maps("layer"),
                _query("blob", "Which: 0 are the weights, 1 often the bias.", _whole(0)),
            ],
            _TILED,
        ),
        "/models/{model}/graph": _get(
            "A net's diagram",
            "Where its parts lie, in points from the upper left; needs the extra `draw`.",
            [_path(models), _FOLD],
            _GRAPH,
            (404, 422, 501, 503),
        ),
        "/nets": _post_net(
            "The layers of a net of your own",
            "As `/models/{model}`. Nothing of it is run, and no file that it names is read.",
            [],
            _object(layers=_LAYERS, notes=_LIST, weights=_whole()),
        ),
        "/nets/graph": _post_net("Its diagram", "", [_FOLD], _GRAPH, (422, 501)),
        "/nets/filters": _post_net(
            "A layer's filters, from its weights",
            "",
            [
                *_maps("layer"),
                _query("blob", "Which: 0 are the weights, 1 often the bias.", _whole(0)),
            ],
            _TILED,
            (404,),
        ),
        "/samples": _get("Pictures to begin with", "", [], _object(samples=_LIST), ()),
        "/samples/{sample}": {
            "get": {
                "summary": "One of them",
                "description": "",
                "parameters": [_in_path("sample", _TEXT)],
                "responses": _responses({"image/jpeg": {}}, (404,)),
            }
        },
        "/runs": _get(
            "The trainings that are watched",
            "The logs and tables that `--run` names; a version changes with the file.",
            [],
            _object(watched={"type": "boolean"}, runs=_LIST),
            (),
        ),
        "/runs/{run}": _get(
            "How a training went",
            "Of each curve the iterations with their values, at most some 800 of them.",
            [_in_path("run", _TEXT)],
            _object(
                name=_TEXT,
                version=_TEXT,
                iteration=_whole(),
                seconds_ago={"type": "number"},
                curves={"type": "object"},
            ),
            (404, 422),
        ),
        "/healthz": _get(
            "Whether the server works",
            "And how many of its places are taken.",
            [],
            _object(status=_TEXT, version=_TEXT, places=_whole(), taken=_whole(), loaded=_LIST),
            (),
        ),
    }
    title = "Recaffe: classify pictures and look into nets"
    return {"openapi": "3.1.0", "info": {"title": title, "version": __version__}, "paths": paths}


def _whole(default: int | None = None) -> Json:
    return {"type": "integer", "minimum": 0} | ({} if default is None else {"default": default})


def _share(default: float) -> Json:
    return {"type": "number", "minimum": 0, "maximum": 1, "default": default}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}


_TEXT: Json = {"type": "string"}
_LIST: Json = {"type": "array", "items": {}}
_LAYERS: Json = {
    "type": "array",
    "items": _object(
        name=_TEXT,
        type=_TEXT,
        family={
            "type": "string",
            "description": "Whose kin the layer is, for its colour.",
            "enum": list(get_args(Family)),
        },
        shapes=_LIST,
        parameters=_whole(),
    ),
}
_PNG: Json = {"type": "string", "description": "A PNG as a data address."}
_LINK: Json = {"schema": _object(link={"type": "string", "format": "uri"})}
_PICTURE: Json = {
    "required": True,
    "description": "The picture itself, a form with the file `picture` or the field `link`, or "
    "JSON with `link`.",
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": _object(picture={"type": "string", "format": "binary"}, link=_TEXT)
        },
        "application/json": _LINK,
    },
}
_TASK: Json = {
    "type": "string",
    "description": "What the model does: names classes, draws boxes, or tells of each place.",
    "enum": list(ASKED_AT),
}
_EXPLANATION = _object(
    by={"type": "string", "enum": list(METHODS)},
    label=_TEXT,
    layer=_TEXT,
    found={"type": "boolean", "description": "Whether anything speaks for the class."},
    map=_PNG,
    seen=_PNG,
)
_DETECTIONS: Json = {
    "type": "array",
    "items": _object(index=_whole(), label=_TEXT, score={"type": "number"}, box=_LIST),
}
_AREAS: Json = {
    "type": "array",
    "items": _object(index=_whole(), label=_TEXT, share={"type": "number"}, colour=_TEXT),
}
_STATISTICS = _object(
    count=_whole(),
    low={"type": "number"},
    high={"type": "number"},
    mean={"type": "number"},
    deviation={"type": "number"},
    zeros=_whole(),
    histogram={
        "type": "array",
        "description": "How many values lie in each of equal parts from the least to the most.",
        "items": _whole(),
    },
)
_CLASSIFIED = _object(
    model=_TEXT,
    device=_TEXT,
    precision=_TEXT,
    picture=_object(format=_TEXT, width=_whole(), height=_whole()),
    predictions={
        "type": "array",
        "items": _object(index=_whole(), label=_TEXT, probability={"type": "number"}),
    },
    probabilities={
        "type": "boolean",
        "description": "Whether the net ends in probabilities; other values are given as they are.",
    },
    milliseconds=_object(
        **{name: {"type": "number"} for name in ("reading", "waiting", "net", "all")}
    ),
    batch={"type": "integer", "description": "How many pictures went through together."},
)
_TILED = _object(
    layer=_TEXT,
    shape=_LIST,
    kind={"type": "string", "enum": ["maps", "values", "colour", "grey", "matrix"]},
    tiles=_PNG,
    columns=_whole(),
    tile=_LIST,
    maps={
        "type": "array",
        "items": _object(
            name=_TEXT, low={"type": "number"}, high={"type": "number"}, mean={"type": "number"}
        ),
    },
    values={"type": "array", "items": {"type": "number"}},
    total=_whole(),
    first=_whole(),
    dead={"type": "integer", "description": "How many maps or filters hold nothing but zeros."},
    statistics=_STATISTICS,
)


def _query(name: str, text: str, schema: Json, required: bool = False) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": schema} | (
        {"required": True} if required else {}
    )


_FOLD = _query(
    "fold", "A repeated block once, or each time.", {"enum": ["yes", "no"], "default": "yes"}
)
_GRAPH = _object(
    width={"type": "number"}, height={"type": "number"}, nodes=_LIST, edges=_LIST, boxes=_LIST
)
_EXPLAINED = [
    _query("class", "The class, counted from 0.", _whole(), required=True),
    _query("layer", "For Grad-CAM, whose maps; the last ones with height and width.", _TEXT),
]
_SEEN = _query(
    "seen", "Whether to send what the net sees along.", {"enum": ["yes", "no"], "default": "no"}
)
_SCALE = _query(
    "scale",
    "Whether black and white are each map's own, or those of all.",
    {"enum": list(SCALES), "default": SCALES[0]},
)


def _modes(models: list[str]) -> list[Json]:
    return [
        _query("model", "The model.", {"enum": models, "default": models[0]}),
        _query("device", "Where to compute.", {"enum": list(DEVICES), "default": DEVICES[0]}),
        _query(
            "precision", "In what to compute.", {"enum": list(PRECISIONS), "default": PRECISIONS[0]}
        ),
    ]


def _maps(name: str) -> list[Json]:
    return [
        _query(name, "The layer's name.", _TEXT, required=True),
        _query("first", "The first map to show.", _whole(0)),
        _query("count", "How many maps to show, at most 256.", _whole(36)),
    ]


def _path(models: list[str]) -> Json:
    return {"name": "model", "in": "path", "required": True, "schema": {"enum": models}}


def _responses(content: Json, reasons: tuple[int, ...]) -> Json:
    error = _object(error=_object(code=_TEXT, message=_TEXT))
    return {"200": {"description": "The answer.", "content": content}} | {
        str(status): {
            "description": _REASONS[status],
            "content": {"application/json": {"schema": error}},
        }
        for status in reasons
    }


def _get(
    summary: str,
    text: str,
    parameters: list[Json],
    answer: Json,
    reasons: tuple[int, ...] = (404, 503),
) -> Json:
    content = {"application/json": {"schema": answer}}
    return {
        "get": {
            "summary": summary,
            "description": text,
            "parameters": parameters,
            "responses": _responses(content, reasons),
        }
    }


def _post(
    summary: str,
    text: str,
    parameters: list[Json],
    answer: Json,
    reasons: tuple[int, ...] = _TAKING_PICTURES,
    drawn: str = "",
) -> Json:
    """Describe what is asked with a picture; `drawn` can be had alone, as a PNG."""
    if drawn:
        text += f" With `Accept: image/png` the answer is `{drawn}` alone."
    described = _get(summary, text, parameters, answer, reasons)["get"]
    if drawn:
        binary = {"schema": {"type": "string", "format": "binary"}}
        described["responses"]["200"]["content"]["image/png"] = binary
    return {"post": {**described, "requestBody": _PICTURE}}


def _in_path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _post_net(
    summary: str,
    text: str,
    parameters: list[Json],
    answer: Json,
    reasons: tuple[int, ...] = (),
) -> Json:
    """Describe what is asked with a net."""
    known = (400, 408, 413, 503)
    described = _get(summary, text, parameters, answer, tuple(sorted({*known, *reasons})))["get"]
    binary = {"type": "string", "format": "binary"}
    body = {
        "required": True,
        "description": "A form with the file `net`, a prototxt, and with `weights`, a caffemodel.",
        "content": {"multipart/form-data": {"schema": _object(net=binary, weights=binary)}},
    }
    return {"post": {**described, "requestBody": body}}
