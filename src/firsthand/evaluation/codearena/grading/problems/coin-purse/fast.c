#include <stdio.h>

#define MODULUS 1000003

int main(void) {
    static int ways[20001], before[20001];
    int n, price;
    if (scanf("%d %d", &n, &price) != 2) return 1;
    ways[0] = 1;
    while (n--) {
        int value, count;
        if (scanf("%d %d", &value, &count) != 2) return 1;
        for (int sum = 0; sum <= price; sum++) before[sum] = ways[sum];
        for (int sum = value; sum <= price; sum++) {
            long long all = (long long)ways[sum] + ways[sum - value];
            long long gone = sum - (long long)value * (count + 1);
            if (gone >= 0) all += MODULUS - before[gone]; /* one coin too many */
            ways[sum] = (int)(all % MODULUS);
        }
    }
    printf("%d\n", ways[price]);
    return 0;
}
