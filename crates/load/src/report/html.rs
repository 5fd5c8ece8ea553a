//! The report as a page.
pub(super) fn page(report: &super::Report) -> String {
    report.table()
}
