//! Stories about linkgate as a whole, one file each.

mod mosaic;
