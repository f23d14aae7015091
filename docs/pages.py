"""Make pages of the documentation from the sources, in each build: commands, configs and the Python API.

A hook of MkDocs, named in mkdocs.yml. Plots and pages of reports/ become part of the site too.
"""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    pages = {"commands.md": commands_page(), "configs.md": configs_page()}
    api = [page for page in nav_pages(config.nav) if page.startswith("api/")]
    pages |= {page: f"::: canopy.{Path(page).stem}\n" for page in api}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for pattern in ("*.png", "*.json", "sweeps/*.csv", "benchmark/*.png", "benchmark/*.html"):
        for path in ROOT.glob(f"reports/{pattern}"):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links to ../reports/ work where the pages are read in the repository; the site has its own copy."""
    return markdown.replace("](../reports/", "](reports/")


def nav_pages(entries: list | dict | str) -> list[str]:
    """List the pages that the navigation names.

    Examples:
        >>> nav_pages([{"Home": "index.md"}, {"API": ["api/nets.md"]}])
        ['index.md', 'api/nets.md']
    """
    if isinstance(entries, str):
        return [entries]
    values = entries.values() if isinstance(entries, dict) else entries
    return [page for value in values for page in nav_pages(value)]


def commands_page() -> str:
    """Lay out the targets of the Makefile and the docstring of each script."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*?## (.*)$", makefile, re.MULTILINE)
    lines = [
        "# Commands",
        "",
        "`--help` of a command that takes `key=value` lists what can be overridden; `--cfg job` prints its "
        "config.",
        "",
        "## make",
        "",
        "| target | |",
        "| --- | --- |",
        *(f"| `make {name}` | {cell(about)} |" for name, about in targets),
    ]
    for folder, title in (("src", "Commands of src/"), ("scripts", "Stages of the pipeline, in scripts/")):
        lines += ["", f"## {title}"]
        for path in sorted((ROOT / folder).glob("*.py")):
            first, _, rest = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")
            lines += ["", f"### {path.relative_to(ROOT)}", "", first]
            for block in rest.strip().split("\n\n"):
                is_command = block.startswith(("python ", "CANOPY_"))
                lines += ["", *(["```bash", block, "```"] if is_command else [block])]
    return "\n".join(lines)


def configs_page() -> str:
    """Lay out the choices of each config group with the first line of their files."""
    folder = ROOT / "configs"
    primary = sorted(folder.glob("*.yaml"))
    lines = [
        "# Configs",
        "",
        "A command composes its config from one primary file and one choice of each group: `group=choice` "
        "takes another choice, `key=value` another value. Each file is commented: the comments give "
        "consequences and measurements.",
        "",
        "## Primary configs",
        "",
        "| file | |",
        "| --- | --- |",
        *(f"| `configs/{path.name}` | {header(path)} |" for path in primary),
    ]
    for group in sorted({path.parent for path in folder.rglob("*.yaml")} - {folder}):
        lines += ["", f"## {group.relative_to(folder)}", "", "| choice | |", "| --- | --- |"]
        lines += [f"| `{path.stem}` | {header(path)} |" for path in sorted(group.glob("*.yaml"))]
    return "\n".join(lines)


def header(path: Path) -> str:
    """Give the comment that a config begins with."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            words.append(line.removeprefix("#").strip())
    text = " ".join(words)
    return cell(re.sub(r"python src/\S+\.py(?: (?:-m|[\w./@+]+=\S+))*", lambda match: f"`{match[0]}`", text))


def cell(text: str) -> str:
    return text.replace("|", "\\|")
