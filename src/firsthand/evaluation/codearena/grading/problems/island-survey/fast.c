#include <stdio.h>
#include <stdlib.h>

static char map[64][64];
static int height, width;

static int size(int row, int column) {
    if (row < 0 || row >= height || column < 0 || column >= width || map[row][column] != '#') return 0;
    map[row][column] = '.';
    return 1 + size(row - 1, column) + size(row + 1, column) + size(row, column - 1) + size(row, column + 1);
}

static int descending(const void *a, const void *b) { return *(const int *)b - *(const int *)a; }

int main(void) {
    static int sizes[4096];
    int count = 0;
    if (scanf("%d %d", &height, &width) != 2) return 1;
    for (int row = 0; row < height; row++)
        if (scanf("%63s", map[row]) != 1) return 1;
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++)
            if (map[row][column] == '#') sizes[count++] = size(row, column);
    qsort(sizes, count, sizeof sizes[0], descending);
    printf("[");
    for (int i = 0; i < count; i++) printf(i ? ", %d" : "%d", sizes[i]);
    printf("]\n");
    return 0;
}
