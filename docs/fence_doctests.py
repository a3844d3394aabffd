"""Examples in docstrings (lines after `>>>`) become code blocks in the reference."""

import re

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.M)


class FenceDoctests(griffe.Extension):
    """Puts a fence around every block that starts with `>>>` and ends with an empty line."""

    def on_instance(self, *, node, obj, agent, **kwargs):
        if obj.docstring and "Examples\n---" not in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(
                lambda found: f"```python\n{found[0]}\n```", obj.docstring.value
            )
