"""A program for each verdict in each language: the sum of some numbers, and the ways to fail at it."""

from __future__ import annotations

_C = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(void) {{ {} }}\n"
_CPP = "#include <iostream>\n#include <vector>\nint main() {{ {} }}\n"
_GO = 'package main\nimport ("fmt"; "os")\nvar keep [][]byte\nfunc main() {{ _ = os.Args; _ = fmt.Sprint(); {} }}\n'
_JAVA = "import java.util.*;\npublic class Main {{ public static void main(String[] a) {{ {} }} }}\n"
_RUST = (
    "use std::io::Read;\nfn main() {{ let mut text = String::new(); std::io::stdin().read_to_string(&mut text)"
    ".unwrap(); {} }}\n"
)
_HASKELL = "import qualified Data.Map as M\nmain :: IO ()\nmain = {}\n"

PROGRAMS: dict[str, dict[str, str]] = {
    "python": {
        "AC": "input()\nprint(sum(map(int, input().split())))",
        "WA": "input()\nprint(max(map(int, input().split())))",
        "CE": "print(",
        "RTE": "print([][1])",
        "TLE": "while True: pass",
        "MLE": "x = []\nwhile True: x.append(bytes(b'x') * (1 << 22))",
    },
    "javascript": {
        "AC": "const w = require('fs').readFileSync(0, 'utf8').split(/\\s+/).slice(1).filter(Boolean).map(Number);"
        "console.log(w.reduce((a, b) => a + b, 0));",
        "WA": "console.log(5)",
        "CE": "console.log(",
        "RTE": "null.x",
        "TLE": "for (;;);",
        "MLE": "const x = []; for (let i = 0;; i++) x.push(new Array(1000).fill(i));",
    },
    "c": {
        "AC": _C.format(
            'int n, x, s = 0; scanf("%d", &n); while (n--) { scanf("%d", &x); s += x; } printf("%d\\n", s);'
        ),
        "WA": _C.format('puts("5");'),
        "CE": _C.format("retrun 0;"),
        "RTE": _C.format("abort();"),
        "TLE": _C.format("for (volatile int i = 0;; i++);"),
        "MLE": _C.format("for (;;) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); }"),
    },
    "cpp": {
        "AC": _CPP.format(
            'int n, x, s = 0; std::cin >> n; while (n--) { std::cin >> x; s += x; } std::cout << s << "\\n";'
        ),
        "WA": _CPP.format("std::cout << 5;"),
        "CE": _CPP.format("std::cout << undeclared;"),
        "RTE": _CPP.format("std::vector<int> v; return v.at(3);"),
        "TLE": _CPP.format("for (volatile int i = 0;; i++);"),
        "MLE": _CPP.format("std::vector<std::vector<int>> v; for (;;) v.emplace_back(1 << 18, 1);"),
    },
    "go": {
        "AC": _GO.format(
            "var n, x, s int; fmt.Scan(&n); for ; n > 0; n-- { fmt.Scan(&x); s += x }; fmt.Println(s)"
        ),
        "WA": _GO.format("fmt.Println(5)"),
        "CE": _GO.format("fmt.Println(undeclared)"),
        "RTE": _GO.format("var x []int; fmt.Println(x[len(os.Args)])"),
        "TLE": _GO.format("for { }"),
        "MLE": _GO.format(
            "for { b := make([]byte, 1 << 20); for i := range b { b[i] = 1 }; keep = append(keep, b) }"
        ),
    },
    "haskell": {
        "AC": _HASKELL.format("getLine >> getLine >>= print . sum . map (read :: String -> Int) . words"),
        "WA": _HASKELL.format("print 5"),
        "CE": _HASKELL.format("print undeclared"),
        "RTE": _HASKELL.format("print (head ([] :: [Int]))"),
        "TLE": _HASKELL.format("print (length (filter odd [1 :: Integer ..]))"),
        "MLE": _HASKELL.format(
            "print (M.size (foldr (\\n m -> M.insert n n m) M.empty [1 .. 10 ^ 8 :: Int]))"
        ),
    },
    "java": {
        "AC": _JAVA.format(
            "Scanner in = new Scanner(System.in); int n = in.nextInt(), s = 0; "
            "while (n-- > 0) s += in.nextInt(); System.out.println(s);"
        ),
        "WA": _JAVA.format("System.out.println(5);"),
        "CE": _JAVA.format("System.out.println(undeclared);"),
        "RTE": _JAVA.format("System.out.println(a[3]);"),
        "TLE": _JAVA.format("for (long i = 0;; i++) if (i < 0) break;"),
        "MLE": _JAVA.format("List<int[]> x = new ArrayList<>(); for (;;) x.add(new int[1 << 18]);"),
    },
    "rust": {
        "AC": _RUST.format(
            'let s: i64 = text.split_whitespace().skip(1).map(|w| w.parse::<i64>().unwrap()).sum(); println!("{}", s);'
        ),
        "WA": _RUST.format('println!("5");'),
        "CE": _RUST.format("undeclared();"),
        "RTE": _RUST.format('panic!("over");'),
        "TLE": _RUST.format("let mut i = 0u64; loop { unsafe { std::ptr::write_volatile(&mut i, i + 1) } }"),
        "MLE": _RUST.format("let mut x: Vec<Vec<u8>> = Vec::new(); loop { x.push(vec![1; 1 << 20]); }"),
    },
}
