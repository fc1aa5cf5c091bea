#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int main(void) {
    static int weight[4096];
    int n, limit;
    if (scanf("%d %d", &n, &limit) != 2) return 1;
    for (int i = 0; i < n; i++)
        if (scanf("%d", &weight[i]) != 1) return 1;
    qsort(weight, n, sizeof weight[0], ascending);
    int light = 0, lockers = 0;
    for (int heavy = n - 1; heavy >= light; heavy--, lockers++)
        if (light < heavy && weight[light] + weight[heavy] <= limit) light++;
    printf("%d\n", lockers);
    return 0;
}
