#include <stdio.h>

int main(void) {
    static double level[4096];
    int n, k;
    if (scanf("%d %d", &n, &k) != 2) return 1;
    double sum = 0, best = -1e18;
    for (int i = 0; i < n; i++) {
        if (scanf("%lf", &level[i]) != 1) return 1;
        sum += level[i];
        if (i >= k) sum -= level[i - k];
        if (i >= k - 1 && sum > best) best = sum;
    }
    printf("%.9f\n", best / k);
    return 0;
}
