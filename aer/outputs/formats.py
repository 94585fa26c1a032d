"""The names of the output formats, without what writes them: `--help` lists them and must answer at once."""

from typing import Literal, get_args

Format = Literal["csv", "parquet", "raven", "audacity", "json", "kaggle"]
FORMATS: tuple[Format, ...] = get_args(Format)
