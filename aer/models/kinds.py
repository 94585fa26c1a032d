"""The names of the kinds of models, without what builds them: `--help` lists them and must answer at once."""

from typing import Literal, get_args

Kind = Literal["panns", "resnest"]
KINDS: tuple[Kind, ...] = get_args(Kind)
