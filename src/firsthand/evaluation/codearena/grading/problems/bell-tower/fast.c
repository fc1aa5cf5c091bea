#include <stdio.h>

int main(void) {
    static int bells[100001];
    int n, t, alone = 0;
    if (scanf("%d %d", &n, &t) != 2) return 1;
    while (n--) {
        int period;
        if (scanf("%d", &period) != 1) return 1;
        for (int minute = period; minute <= t; minute += period) bells[minute]++;
    }
    for (int minute = 1; minute <= t; minute++) alone += bells[minute] == 1;
    printf("%d\n", alone);
    return 0;
}
