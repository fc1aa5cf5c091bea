#include <stdio.h>
#include <stdlib.h>

struct box { int width, height; };

static int order(const void *a, const void *b) {
    const struct box *one = a, *other = b;
    if (one->width != other->width) return one->width < other->width ? -1 : 1;
    return one->height > other->height ? -1 : one->height < other->height;
}

int main(void) {
    static struct box boxes[4096];
    static int ends[4096];
    int n, longest = 0;
    if (scanf("%d", &n) != 1) return 1;
    for (int i = 0; i < n; i++)
        if (scanf("%d %d", &boxes[i].width, &boxes[i].height) != 2) return 1;
    qsort(boxes, n, sizeof boxes[0], order);
    for (int i = 0; i < n; i++) {
        int low = 0, high = longest;
        while (low < high) {
            int middle = (low + high) / 2;
            if (ends[middle] < boxes[i].height) low = middle + 1;
            else high = middle;
        }
        ends[low] = boxes[i].height;
        if (low == longest) longest++;
    }
    printf("%d\n", longest);
    return 0;
}
