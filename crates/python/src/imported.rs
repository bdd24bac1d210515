//! What the native module takes from the Python package.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::calls::{CallsOut as _, import};

/// A class or enumeration of the Python package, imported once.
pub(crate) struct Imported {
    module: &'static str,
    name: &'static str,
    cell: PyOnceLock<Py<PyType>>,
}

impl Imported {
    pub(crate) const fn new(module: &'static str, name: &'static str) -> Self {
        Self {
            module,
            name,
            cell: PyOnceLock::new(),
        }
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyType>> {
        if let Some(class) = self.cell.get(py) {
            return Ok(class.bind(py));
        }
        // Not within the cell: others would wait for a thread that the interpreter's end has cut off.
        let class = import(py, self.module)?.attribute(self.name)?;
        let class = class.cast_into::<PyType>()?.unbind();
        Ok(self.cell.get_or_init(py, || class).bind(py))
    }
}
