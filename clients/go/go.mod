module rowlink

go 1.19
