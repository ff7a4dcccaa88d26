#include "agent/cli/table.h"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

constexpr std::size_t kGap = 2;

std::string padded(std::string text, std::size_t shown_width, std::size_t width, bool right) {
  const std::string blanks(width > shown_width ? width - shown_width : 0, ' ');
  return right ? blanks + text : text + blanks;
}

void end_line(std::string& out) {
  while (!out.empty() && out.back() == ' ') {
    out.pop_back();
  }
  out.push_back('\n');
}

}  // namespace

void Table::add(std::vector<Cell> row) {
  assert(row.size() == columns_.size());
  for (Cell& cell : row) {
    cell.text = printable(cell.text);
  }
  rows_.push_back(std::move(row));
}

std::vector<std::size_t> Table::widths(const Terminal& terminal) const {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = display_width(columns_[i].title);
    for (const auto& row : rows_) {
      width = std::max(width, display_width(row[i].text));
    }
    result.push_back(width);
  }
  if (columns_.empty()) {
    return result;
  }
  if (!terminal.tty) {
    // Cells are not cut here: a longer one sticks out.
    std::transform(result.begin(), result.end() - 1, result.begin(),
                   [](std::size_t width) { return std::min(width, kWideColumn); });
    return result;
  }
  std::vector<std::size_t> order(columns_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return columns_[a].cut_order > columns_[b].cut_order; });
  // First what is wider than wide, whichever column it is, then the columns in their order.
  for (const bool wide_only : {true, false}) {
    for (const std::size_t i : order) {
      const std::size_t total = std::accumulate(result.begin(), result.end(), kGap * (columns_.size() - 1));
      if (total <= terminal.width || columns_[i].cut_order == 0) {
        break;
      }
      const std::size_t least = std::max(columns_[i].min_width, display_width(columns_[i].title));
      const std::size_t floor = wide_only ? std::max(least, kWideColumn) : least;
      result[i] -= std::min(total - terminal.width, result[i] > floor ? result[i] - floor : 0);
    }
  }
  return result;
}

std::string Table::render(const Terminal& terminal) const {
  const std::vector<std::size_t> width = widths(terminal);
  std::string out;
  const auto put = [&](std::size_t i, const std::string& text, Colour colour) {
    const std::string shown = terminal.tty ? truncate(text, width[i]) : text;
    out += i == 0 ? std::string{} : std::string(kGap, ' ');
    out += padded(terminal.paint(colour, shown), display_width(shown), width[i], columns_[i].right);
  };
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    put(i, columns_[i].title, Colour::bold);
  }
  end_line(out);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      put(i, row[i].text, row[i].colour);
    }
    end_line(out);
  }
  return out;
}

void Block::add(std::string label, std::string text, Colour label_colour) {
  rows_.push_back({std::move(label), printable(text), label_colour});
}

std::string Block::render(const Terminal& terminal) const {
  std::size_t label_width = 0;
  for (const Row& row : rows_) {
    label_width = std::max(label_width, display_width(row.label));
  }
  const std::size_t indent = label_width + kGap;
  const std::size_t whole = prose_width(terminal);
  std::string out;
  for (const Row& row : rows_) {
    out += padded(terminal.paint(row.colour, row.label), display_width(row.label), indent, false);
    const std::vector<std::string> lines = wrap(row.text, whole > indent ? whole - indent : 1);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i > 0) {
        end_line(out);
        out += std::string(indent, ' ');
      }
      out += lines[i];
    }
    end_line(out);
  }
  return out;
}

std::size_t prose_width(const Terminal& terminal) {
  constexpr std::size_t kReadable = 100;
  return std::min(terminal.width, kReadable);
}

}  // namespace limpet::cli
