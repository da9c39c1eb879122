//! Silence before an answer is another thing than silence in it: a registry that joins the parts of a large blob may
//! think for a minute, but a download that stands still for as long is dead.
//!
//! ureq has one limit for every read (`timeout_per_read`), which would count while an answer is awaited too. This
//! stands between ureq and its own transports, and lifts that limit while the limit on the whole head of the answer
//! (`timeout_recv_response`) is what counts.

use ureq::{
    Error, Timeout,
    unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport},
};

#[derive(Debug)]
pub(super) struct Patience;

#[derive(Debug)]
pub(super) struct PatientTransport<T>(T);

impl<T: Transport> Connector<T> for Patience {
    type Out = PatientTransport<T>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<T>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(PatientTransport))
    }
}

impl<T: Transport> Transport for PatientTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, Error> {
        if matches!(timeout.reason, Timeout::RecvResponse | Timeout::Await100) {
            timeout.per_read = None;
        }
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}
