height, width = map(int, input().split())
land = [
    (row, column) for row in range(height) for column, square in enumerate(input().strip()) if square == "#"
]
island = {square: number for number, square in enumerate(land)}
changed = True
while changed:  # neighbours take the smaller number, until nothing changes
    changed = False
    for row, column in land:
        for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if other in island and island[other] < island[row, column]:
                island[row, column] = island[other]
                changed = True
numbers = list(island.values())
print(sorted((numbers.count(number) for number in set(numbers)), reverse=True))
