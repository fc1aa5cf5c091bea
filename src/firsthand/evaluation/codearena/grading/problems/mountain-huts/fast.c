#include <stdio.h>
#include <string.h>

static int minutes[512][512], reached[512], done[512];

int main(void) {
    int n, m;
    if (scanf("%d %d", &n, &m) != 2) return 1;
    memset(minutes, 0x3f, sizeof minutes);
    memset(reached, 0x3f, sizeof reached);
    while (m--) {
        int one, other, takes;
        if (scanf("%d %d %d", &one, &other, &takes) != 3) return 1;
        if (takes < minutes[one][other]) minutes[one][other] = minutes[other][one] = takes;
    }
    reached[1] = -15; /* the rest that is not taken before the first path */
    for (;;) {
        int next = 0;
        for (int hut = 1; hut <= n; hut++)
            if (!done[hut] && reached[hut] < 0x3f3f3f3f && (!next || reached[hut] < reached[next])) next = hut;
        if (!next) break;
        done[next] = 1;
        for (int hut = 1; hut <= n; hut++)
            if (minutes[next][hut] < 0x3f3f3f3f && reached[next] + 15 + minutes[next][hut] < reached[hut])
                reached[hut] = reached[next] + 15 + minutes[next][hut];
    }
    printf("%d\n", reached[n] < 0x3f3f3f3f ? reached[n] : -1);
    return 0;
}
