"""The verbs of a test-only room."""

import typer

app = typer.Typer(no_args_is_help=True, help="A test-only room.")


@app.command()
def hello() -> None:
    """Say hello."""
    typer.echo("hello from known_effect")


@app.callback()
def _root() -> None:
    """A test-only room."""
