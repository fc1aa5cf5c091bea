#include <stdio.h>
#include <stdlib.h>

struct rope { int left, right; };

static struct rope ropes[4096], sorted[4096];

static int by_left(const void *a, const void *b) {
    return ((const struct rope *)a)->left - ((const struct rope *)b)->left;
}

static long long crossings(int first, int last) { /* sorts by the right hook on the way */
    if (last - first < 2) return 0;
    int middle = (first + last) / 2;
    long long count = crossings(first, middle) + crossings(middle, last);
    int low = first, high = middle, to = first;
    while (low < middle || high < last) {
        if (high == last || (low < middle && ropes[low].right < ropes[high].right)) {
            sorted[to++] = ropes[low++];
        } else {
            count += middle - low;
            sorted[to++] = ropes[high++];
        }
    }
    for (int i = first; i < last; i++) ropes[i] = sorted[i];
    return count;
}

int main(void) {
    int n;
    if (scanf("%d", &n) != 1) return 1;
    for (int i = 0; i < n; i++)
        if (scanf("%d %d", &ropes[i].left, &ropes[i].right) != 2) return 1;
    qsort(ropes, n, sizeof ropes[0], by_left);
    printf("%lld\n", crossings(0, n));
    return 0;
}
