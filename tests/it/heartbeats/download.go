// Writes what the link in the variable URL gives, decoded by the library, to the file in the variable FILE.
package main

import (
	"io"
	"net/http"
	"os"
)

func main() {
	response, err := http.Get(os.Getenv("URL"))
	check(err)
	content, err := io.ReadAll(response.Body)
	check(err)
	check(os.WriteFile(os.Getenv("FILE"), content, 0o600))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
