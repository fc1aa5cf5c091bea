height, width = map(int, input().split())
land = {
    (row, column) for row in range(height) for column, square in enumerate(input().strip()) if square == "#"
}
sizes = []
while land:
    waiting, size = [land.pop()], 0
    while waiting:
        row, column = waiting.pop()
        size += 1
        for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if other in land:
                land.remove(other)
                waiting.append(other)
    sizes.append(size)
print(sorted(sizes, reverse=True))
