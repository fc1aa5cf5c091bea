#include <stdio.h>

int main(void) {
    static char street[4096];
    if (scanf("%4095s", street) != 1) return 1;
    int best = 0, start = 0, run = 0;
    for (int i = 0; street[i]; i++) {
        run = street[i] == '.' ? run + 1 : 0;
        if (run > best) {
            best = run;
            start = i - run + 2;
        }
    }
    printf("%d %d\n", best, start);
    return 0;
}
