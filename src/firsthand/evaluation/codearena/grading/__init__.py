"""From a source text to a verdict: languages, checkers, cases, the bundled problems and the scripted league."""
