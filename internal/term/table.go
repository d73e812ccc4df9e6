package term

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// Table prints rows in columns for people. The first row is the heading.
func Table(w io.Writer, rows [][]string) error {
	columns := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = text.OneLine(cell)
		}
		if _, err := fmt.Fprintln(columns, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return columns.Flush()
}

// JSON prints a value for programs, indented, since people read it as well.
func JSON(w io.Writer, value any) error {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := io.WriteString(w, text.JSON(b.String()))
	return err
}

// OrDash is a cell of a table, or a dash for an empty one.
func OrDash(cell string) string {
	if cell == "" {
		return "-"
	}
	return cell
}
