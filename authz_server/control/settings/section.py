"""What all sections of the configuration have in common."""

from pydantic import ConfigDict

from authz_server.documents.model import Model


class Section(Model):
    """A closed, immutable group of settings; its docstrings are the reference documentation."""

    model_config = ConfigDict(validate_default=True, hide_input_in_errors=True)
