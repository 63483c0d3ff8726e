"""What a model is, in neutral words: an app's name and the inputs it takes."""

from __future__ import annotations

from gateway.exchange.turn import JSONValue
from gateway.frozen import frozen


@frozen
class FileRules:
    """What files an app, or one of its variables, takes, in Dify's words."""

    types: tuple[str, ...] = ()  # image, document, audio, video, custom; none given: any
    extensions: tuple[str, ...] = ()  # of custom files: .zip
    methods: tuple[str, ...] = ()  # local_file, remote_url; none given: both
    image_methods: tuple[str, ...] = ()  # the same for images
    number: int | None = None  # in one message


@frozen
class InputField:
    """One variable that an app asks for, as Dify's /parameters describes it."""

    variable: str
    kind: str  # Dify's word: text-input, paragraph, select, number, checkbox, file, file-list, json_object, …
    label: str = ""
    required: bool = False
    max_length: int | None = None  # characters; for a file-list, files
    options: tuple[str, ...] = ()
    default: JSONValue = None
    files: FileRules | None = None  # of a file or file-list


@frozen
class Model:
    """One entry of the model list."""

    id: str
    created: int  # Unix seconds; Dify tells no date, so: when the gateway first saw the app
    name: str
    mode: str
    description: str = ""
    inputs: tuple[InputField, ...] = ()
    files: FileRules | None = None  # None: its messages carry no files
