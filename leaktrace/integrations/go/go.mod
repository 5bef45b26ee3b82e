module leaktrace

go 1.18
