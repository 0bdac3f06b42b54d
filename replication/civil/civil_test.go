package civil

import (
	"testing"
	"time"
)

// TestDays goes there and back over all days of some years, beside package time.
func TestDays(t *testing.T) {
	for _, year := range []int{-271821, -4713, -401, -400, -1, 0, 1, 4, 100, 400, 1582, 1600, 1900, 1969, 1970, 2000, 2024, 2100, 9999, 294276} {
		for at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() == year; at = at.AddDate(0, 0, 1) {
			want := at.Unix() / 86400 // midnights: no rest
			y, m, d := int64(at.Year()), int64(at.Month()), int64(at.Day())
			if got := Days(y, m, d); got != want {
				t.Fatalf("%s is day %d, want %d", at.Format(time.DateOnly), got, want)
			}
			if gy, gm, gd := Date(want); gy != y || gm != m || gd != d {
				t.Fatalf("day %d is %d-%d-%d, want %s", want, gy, gm, gd, at.Format(time.DateOnly))
			}
		}
		for month := time.January; month <= time.December; month++ {
			if got, want := DaysIn(int64(year), int64(month)), time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day(); got != int64(want) {
				t.Errorf("%s %d has %d days, want %d", month, year, got, want)
			}
		}
	}
}

func TestAppendClock(t *testing.T) {
	for micros, want := range map[int64]string{
		0:                            "00:00:00",
		-3723e6:                      "-01:02:03",
		1:                            "00:00:00.000001",
		100_000:                      "00:00:00.1",
		59_999_999:                   "00:00:59.999999",
		86_399_000_000:               "23:59:59",
		86_400_000_000:               "24:00:00",
		838*3600e6 + 90e6:            "838:01:30",
		12*3600e6 + 34*60e6:          "12:34:00",
		9*3600e6 + 8*60e6 + 7e6 + 60: "09:08:07.00006",
	} {
		if got := string(AppendClock(nil, micros)); got != want {
			t.Errorf("%d is %s, want %s", micros, got, want)
		}
	}
}

func TestAppendPadded(t *testing.T) {
	for _, test := range []struct {
		n     int64
		width int
		want  string
	}{{0, 1, "0"}, {0, 4, "0000"}, {9, 2, "09"}, {10, 2, "10"}, {10, 3, "010"}, {123456, 4, "123456"}, {999, 6, "000999"}, {7, 20, "00000000000000000007"}} {
		if got := string(AppendPadded(nil, test.n, test.width)); got != test.want {
			t.Errorf("%d in %d digits is %s", test.n, test.width, got)
		}
	}
	if got := string(AppendDate(nil, 5, 4, 11, 9)); got != "0005-11-09" {
		t.Error(got)
	}
}
