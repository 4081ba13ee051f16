"""What clients order and get: models of the query and of the answers, kept on disk as JSON."""

from pathlib import PurePath

from pydantic import BaseModel, ConfigDict, Field

from srgan.pictures.images import FORMATS
from srgan.pictures.options import MAX_SCALE

LONGEST_SIDE = 1_000_000  # pixels, beyond any format's
FORMAT_NAMES = (*FORMATS, "jpg", "tif")


class Order(BaseModel):
    """How to upscale a picture. The options are those of `srgan upscale`."""

    model_config = ConfigDict(extra="forbid")  # a misspelt parameter is not ignored in silence

    model: str = Field(default="", description="One of GET /v1/models; by default the first")
    detail: float | None = Field(
        default=None, ge=0, le=1, description="Faithful to vivid, for models that have `detail`"
    )
    scale: float | None = Field(
        default=None,
        ge=1,
        le=MAX_SCALE,
        description="Result pixels per pixel; by default the model's",
    )
    width: int | None = Field(default=None, ge=1, le=LONGEST_SIDE, description="Of the result")
    height: int | None = Field(
        default=None, ge=1, le=LONGEST_SIDE, description="Of the result, which fits both sides"
    )
    format: str | None = Field(
        default=None,
        pattern=f"^({'|'.join(FORMAT_NAMES)})$",
        description="Of the result; by default the picture's own",
    )
    quality: int | None = Field(default=None, ge=1, le=100, description="For lossy formats")
    tta: bool = Field(
        default=False, description="Average over 8 flips and rotations: 8 times slower"
    )
    name: str = Field(
        default="", max_length=500, description="Of the picture; a form brings its own"
    )


class Size(BaseModel):
    """Width and height in pixels."""

    width: int = Field(examples=[2560])
    height: int = Field(examples=[1920])

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Result(BaseModel):
    """A finished picture."""

    name: str = Field(description="Of the result", examples=["photo_x4.jpg"])
    bytes: int = Field(description="Of the result")
    type: str = Field(description="Of the result", examples=["image/jpeg"])
    source_size: Size = Field(description="Of the picture")
    size: Size = Field(description="Of the result")
    frames: int = Field(default=1, description="Of an animation; 1 for a still picture")
    model: str = Field(description="That made the result; for auto, the chosen one")
    why: str = Field(description="That model was chosen", examples=["as requested"])
    signs: list[str] = Field(description="What the choice saw", examples=[["blurred"]])
    notes: list[str] = Field(description="For people: what the result could not keep")

    @property
    def file(self) -> str:
        """The name of its file in the job's folder."""
        return result_file(self.name)


def result_file(name: str) -> str:
    """The server's name for the file of a result, by the client's."""
    return f"result{PurePath(name).suffix}"
