#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct word { char text[16], letters[16]; };

static int by_letter(const void *a, const void *b) { return *(const char *)a - *(const char *)b; }

static int by_letters(const void *a, const void *b) {
    const struct word *one = a, *other = b;
    int order = strcmp(one->letters, other->letters);
    return order ? order : strcmp(one->text, other->text);
}

int main(void) {
    static struct word words[512];
    int n;
    if (scanf("%d", &n) != 1) return 1;
    for (int i = 0; i < n; i++) {
        if (scanf("%15s", words[i].text) != 1) return 1;
        strcpy(words[i].letters, words[i].text);
        qsort(words[i].letters, strlen(words[i].letters), 1, by_letter);
    }
    qsort(words, n, sizeof words[0], by_letters);
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n && !strcmp(words[i].letters, words[j].letters); j++)
            printf("%s %s\n", words[i].text, words[j].text);
    return 0;
}
