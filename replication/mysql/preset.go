package mysql

import "strings"

// defaultExpression renders the default of a column as SQL: a literal in quotes,
// or an expression as the catalog has it. "" is none. MySQL's catalog holds a
// literal's bare text and says of the others that they were generated; MariaDB's
// holds SQL: their manuals, "The INFORMATION_SCHEMA COLUMNS Table".
func defaultExpression(flavor Flavor, text, extra string) string {
	if flavor == MySQL {
		if strings.Contains(extra, "DEFAULT_GENERATED") || strings.HasPrefix(text, "CURRENT_TIMESTAMP") {
			return text
		}
		return quoteLiteral(text)
	}
	switch {
	case text == "NULL":
		return ""
	case strings.HasPrefix(text, "'"):
		return quoteLiteral(unquote(text))
	case text != "" && strings.Trim(text, "0123456789.-+eE") == "":
		return quoteLiteral(text)
	case strings.HasPrefix(text, "b'"):
		return quoteLiteral(text)
	}
	return text
}

var mariaEscapes = strings.NewReplacer(`''`, `'`, `\\`, `\`, `\'`, `'`, `\0`, "\x00", `\n`, "\n", `\r`, "\r", `\Z`, "\x1a", `\t`, "\t")

// unquote is the text of a constant as MariaDB prints it.
func unquote(text string) string {
	return mariaEscapes.Replace(strings.TrimSuffix(strings.TrimPrefix(text, "'"), "'"))
}

// displayDigits is the "(7,3)" of float(7,3) unsigned; "" when there is none.
func displayDigits(full string) string {
	open, shut := strings.IndexByte(full, '('), strings.IndexByte(full, ')')
	if open < 0 || shut < open {
		return ""
	}
	return full[open : shut+1]
}
