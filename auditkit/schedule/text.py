"""YAML that people read: keys in their order, several lines as a block."""

from __future__ import annotations

from typing import Any


def yaml_of(data: Any, comment: str) -> str:
    """*data* as YAML below *comment*."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            return super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    body = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
    return f"{commented(comment)}{body}"


def commented(text: str) -> str:
    """*text* as comment lines."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.strip().splitlines())
