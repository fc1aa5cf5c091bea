#include <stdio.h>
#include <string.h>

int main(void) {
    static char row[4096], word[256];
    if (scanf("%4095s %255s", row, word) != 2) return 1;
    int lacking[128] = {0}, missing = (int)strlen(word), best = -1, first = 0;
    for (char *letter = word; *letter; letter++) lacking[(int)*letter]++;
    for (int last = 0; row[last]; last++) {
        if (lacking[(int)row[last]]-- > 0) missing--;
        while (missing == 0) {
            if (best < 0 || last - first + 1 < best) best = last - first + 1;
            if (++lacking[(int)row[first++]] > 0) missing++;
        }
    }
    printf("%d\n", best);
    return 0;
}
