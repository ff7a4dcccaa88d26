// Tables for people: columns as wide as their widest cell, and on a terminal no wider together than the terminal. A few
// very long cells do not blow up the rest: past kWideColumn a column takes no more room than it can have (terminal), or
// is not filled up with blanks (elsewhere).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "agent/cli/terminal.h"

namespace limpet::cli {

inline constexpr std::size_t kWideColumn = 40;

struct Column {
  std::string title;
  // On a terminal that is too narrow, columns are cut in the order of this number, the highest first, each down to
  // `min_width`; 0 is never cut.
  int cut_order = 0;
  std::size_t min_width = 0;
  bool right = false;  // numbers
};

struct Cell {
  Cell(std::string cell_text, Colour cell_colour = Colour::none)  // NOLINT(google-explicit-constructor): reads as text
      : text(std::move(cell_text)), colour(cell_colour) {}
  std::string text;
  Colour colour;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Precondition: as many cells as columns. Control characters are made printable here.
  void add(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }

  // Title line and rows, each ended by a line end, without trailing blanks. Cells are cut only on a tty.
  std::string render(const Terminal& terminal) const;

 private:
  std::vector<std::size_t> widths(const Terminal& terminal) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// A block of "Label   text", the text wrapped beside its label to the terminal's width (at most 100 columns: longer
// lines are hard to read).
class Block {
 public:
  // `label` may be empty: the text goes on under the one before.
  void add(std::string label, std::string text, Colour label_colour = Colour::none);
  std::string render(const Terminal& terminal) const;

 private:
  struct Row {
    std::string label;
    std::string text;
    Colour colour;
  };
  std::vector<Row> rows_;
};

// The width at which prose is wrapped on `terminal`.
std::size_t prose_width(const Terminal& terminal);

}  // namespace limpet::cli
