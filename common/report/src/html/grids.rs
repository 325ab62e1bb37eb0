//! Tables of a study's own.

use maud::{Markup, html};

use crate::Grid;
use crate::grid::cell;

pub(super) fn section(grids: &[Grid]) -> Markup {
    html! {
        @for grid in grids {
            h2 { (grid.title) }
            div.wide {
                table {
                    thead { tr { th { (grid.lines_are) } @for column in &grid.columns { th.num { (column) } } } }
                    tbody {
                        @for line in &grid.lines {
                            tr { td.name { (line.name) } @for one in &line.cells { td.num { (cell(one)) } } }
                        }
                    }
                }
            }
        }
    }
}
