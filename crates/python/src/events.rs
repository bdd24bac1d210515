//! `on_event`: Python is told what happens on connections.

use polytls_core::Alert;
use polytls_core::events::{Event, Tracer};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::callbacks::{Callback, attached, ignored};
use crate::calls::CallsOut as _;
use crate::errors::raised;
use crate::imported::Imported;
use crate::info;

static EVENT: Imported = Imported::new("polytls.info", "ConnectionEvent");
static KINDS: Imported = Imported::new("polytls.constants", "HandshakeType");
static ALERTS: Imported = Imported::new("polytls.constants", "AlertDescription");

/// A Python function that takes events.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) callable: Py<PyAny>,
    pub(crate) implementation: String,
}

impl Callback for Listener {
    fn callable(&self) -> &Py<PyAny> {
        &self.callable
    }
}

impl Listener {
    fn fields<'py>(
        &self,
        py: Python<'py>,
        connection: u64,
        is_client: bool,
        event: &Event,
    ) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("connection", connection)?;
        fields.set_item("role", if is_client { "client" } else { "server" })?;
        match event {
            Event::Message {
                is_ours,
                kind,
                length,
            } => {
                fields.set_item("kind", "message")?;
                fields.set_item("sent", is_ours)?;
                let number = kind.into_pyobject(py)?.into_any();
                fields.set_item("message", info::known(&KINDS, number)?)?;
                fields.set_item("size", length)?;
            }
            Event::Alert {
                is_ours,
                alert: Alert(alert),
            } => {
                fields.set_item("kind", "alert")?;
                fields.set_item("sent", is_ours)?;
                let number = alert.into_pyobject(py)?.into_any();
                fields.set_item("alert", info::known(&ALERTS, number)?)?;
            }
            Event::Established(facts) => {
                fields.set_item("kind", "established")?;
                let ech = facts.ech;
                let facts = Some(&**facts);
                let info = info::connection_info(py, &self.implementation, facts, ech)?;
                fields.set_item("info", info)?;
            }
            Event::Ended(error) => {
                fields.set_item("kind", "end")?;
                let error = error.as_ref();
                let error = error.map(|error| raised(py, &self.implementation, error));
                fields.set_item("error", error.map(|error| error.into_value(py)))?;
            }
        }
        Ok(fields)
    }
}

impl Tracer for Listener {
    fn event(&self, connection: u64, is_client: bool, event: &Event) {
        attached(|py| {
            let function = self.callable.bind(py);
            let told = || -> PyResult<()> {
                let fields = self.fields(py, connection, is_client, event)?;
                let event = EVENT.get(py)?.call_out((), Some(&fields))?;
                function.call_out((event,), None)?;
                Ok(())
            };
            if let Err(error) = told() {
                // Watching must not break what is watched.
                ignored(py, error, function);
            }
        });
    }
}
