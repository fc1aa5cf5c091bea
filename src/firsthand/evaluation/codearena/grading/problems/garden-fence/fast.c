#include <stdio.h>

int main(void) {
    static int height[4096], stack[4096];
    int n, top = 0;
    long long best = 0;
    if (scanf("%d", &n) != 1) return 1;
    for (int i = 0; i < n; i++)
        if (scanf("%d", &height[i]) != 1) return 1;
    for (int i = 0; i <= n; i++) { /* the board after the last has no height and ends all */
        while (top && height[stack[top - 1]] >= height[i]) {
            long long high = height[stack[--top]];
            int left = top ? stack[top - 1] : -1;
            if (high * (i - left - 1) > best) best = high * (i - left - 1);
        }
        stack[top++] = i;
    }
    printf("%lld\n", best);
    return 0;
}
