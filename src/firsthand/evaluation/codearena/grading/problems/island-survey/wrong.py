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
        for down in (-1, 0, 1):  # counts corners as sides
            for right in (-1, 0, 1):
                other = (row + down, column + right)
                if other in land:
                    land.remove(other)
                    waiting.append(other)
    sizes.append(size)
print(sorted(sizes))  # smallest first
