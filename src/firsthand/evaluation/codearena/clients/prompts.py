"""The prompt runtime (section 3, runtimes layer): a problem becomes a prompt, and the model's reply a program.

The model is told to answer with one program and nothing else, shown one worked example, and given the problem. What
counts of its reply is the first fenced block of the language, else the whole of it.

Knows prompts and replies. Knows no models (`models`) and no arenas (`competing`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from firsthand.evaluation.codearena.clients.models import Message
from firsthand.evaluation.codearena.grading.sandboxed import known_language, language_names

__all__ = ["Asked", "extract_code", "messages_for"]

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\n`]*)\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.M | re.S)
_EXAMPLE_STATEMENT = """# Sum of a line

The only line of the input has some whole numbers. Print their sum."""
_EXAMPLES = {
    "python": "print(sum(map(int, input().split())))",
    "javascript": 'const text = require("fs").readFileSync(0, "utf8");\n'
    "console.log(text.trim().split(/\\s+/).map(Number).reduce((a, b) => a + b, 0));",
    "c": "#include <stdio.h>\n\nint main(void) {\n    long long sum = 0, x;\n"
    '    while (scanf("%lld", &x) == 1) sum += x;\n    printf("%lld\\n", sum);\n    return 0;\n}',
    "cpp": "#include <iostream>\n\nint main() {\n    long long sum = 0, x;\n    while (std::cin >> x) sum += x;\n"
    "    std::cout << sum << '\\n';\n}",
    "java": "import java.util.Scanner;\n\npublic class Main {\n    public static void main(String[] args) {\n"
    "        Scanner in = new Scanner(System.in);\n        long sum = 0;\n"
    "        while (in.hasNextLong()) sum += in.nextLong();\n        System.out.println(sum);\n    }\n}",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tvar sum, x int64\n\tfor {\n'
    "\t\tif _, err := fmt.Scan(&x); err != nil {\n\t\t\tbreak\n\t\t}\n\t\tsum += x\n\t}\n\tfmt.Println(sum)\n}",
    "rust": "use std::io::Read;\n\nfn main() {\n    let mut text = String::new();\n"
    "    std::io::stdin().read_to_string(&mut text).unwrap();\n"
    "    let sum: i64 = text.split_whitespace().map(|x| x.parse::<i64>().unwrap()).sum();\n"
    '    println!("{}", sum);\n}',
    "haskell": "main :: IO ()\nmain = do\n  text <- getContents\n  print (sum (map read (words text) :: [Integer]))",
}


@dataclass(frozen=True)
class Asked:
    """A problem as a prompt needs it."""

    pid: str
    title: str
    statement: str
    time_ms: int
    memory_kb: int
    samples: tuple[tuple[str, str], ...]  # input, output


def messages_for(problem: Asked, language: str) -> list[Message]:
    """The prompt: instructions, one worked example, the problem.

    Raises:
        UnsupportedLanguage: a language that there is not.
    """
    slug = known_language(language)
    name = language_names()[slug][0]
    system = (
        f"You solve programming problems in {name}. Answer with one complete program in one fenced code block, and "
        "with nothing else. The program reads standard input and writes standard output exactly as the problem says; "
        "it includes everything that it uses, asks for nothing and prints nothing else."
    )
    messages: list[Message] = [{"role": "system", "content": system}]
    example = _EXAMPLES.get(slug)
    if example is not None:
        messages += [
            {"role": "user", "content": f"{_EXAMPLE_STATEMENT}\n\nWrite the program in {name}."},
            {"role": "assistant", "content": f"```{slug}\n{example}\n```"},
        ]
    parts = [f"# {problem.title}", problem.statement.strip()]
    for number, (given, wanted) in enumerate(problem.samples, 1):
        parts.append(
            f"Example {number}, input:\n```\n{given.rstrip()}\n```\noutput:\n```\n{wanted.rstrip()}\n```"
        )
    parts.append(
        f"Time limit: {problem.time_ms / 1000:g} s of processor time for each test. "
        f"Memory limit: {problem.memory_kb // 1024} MiB.\n\nWrite the program in {name}."
    )
    messages.append({"role": "user", "content": "\n\n".join(parts)})
    return messages


def extract_code(reply: str, language: str) -> str:
    """The program in a reply: its first fenced block that is labelled with the language, else the whole of it.

    Where no block is labelled with the language, the first one without a label is taken, which the official script
    would send with all that is said around it. A block that is not closed goes to the end of the reply.

    Raises:
        UnsupportedLanguage: a language that there is not.
    """
    labels = {name.lower() for name in language_names()[known_language(language)]}
    unlabelled = None
    for found in _FENCE.finditer(reply.replace("\r\n", "\n")):
        label = re.split(r"[\s:,{}]", found.group(2).strip().lstrip("{."))[0].lower()
        if label in labels:
            return found.group(3)
        if not label and unlabelled is None:
            unlabelled = found.group(3)
    return reply if unlabelled is None else unlabelled
