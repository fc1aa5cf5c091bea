import sys

numbers = list(map(int, sys.stdin.read().split()))[1:]
boxes = sorted(zip(numbers[::2], numbers[1::2]))
deepest = []
for index, (width, height) in enumerate(boxes):
    most = 0
    for other in range(index):
        if boxes[other][0] < width and boxes[other][1] < height and deepest[other] > most:
            most = deepest[other]
    deepest.append(most + 1)
print(max(deepest))
