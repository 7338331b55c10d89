//! Every call of the desk, as a request.

use super::Remote;
use crate::api::{
    Desk, Images, PinRequest, Pins, Problem, Refresh, Refreshed, Removal, Removed, Status, Tags, Usage,
};

impl Desk for Remote {
    fn status(&self) -> Result<Status, Problem> {
        self.get("/api/v1/status", &[])
    }

    fn images(&self, of: Option<&str>) -> Result<Images, Problem> {
        self.get("/api/v1/images", &[("of", of)])
    }

    fn usage(&self, of: Option<&str>) -> Result<Usage, Problem> {
        self.get("/api/v1/usage", &[("of", of)])
    }

    fn tags(&self, of: &str) -> Result<Tags, Problem> {
        self.get("/api/v1/tags", &[("of", Some(of))])
    }

    fn refresh(&self, asked: &Refresh) -> Result<Refreshed, Problem> {
        self.post("/api/v1/refresh", asked)
    }

    fn remove(&self, removal: &Removal) -> Result<Removed, Problem> {
        self.post("/api/v1/images/remove", removal)
    }

    fn pins(&self) -> Result<Pins, Problem> {
        self.get("/api/v1/pins", &[])
    }

    fn pin(&self, asked: &PinRequest) -> Result<Pins, Problem> {
        self.post("/api/v1/pins", asked)
    }

    fn unpin(&self, asked: &PinRequest) -> Result<Pins, Problem> {
        self.post("/api/v1/pins/remove", asked)
    }
}
