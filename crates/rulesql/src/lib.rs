//! AWS IoT rules SQL: text to typed tree to value, substitution templates. Pure.
//!
//! A [`Statement`] is parsed once when a rule is created and evaluated per message against an [`Input`]
//! (context) and a [`Payload`] (bytes, read as JSON at most once for all statements). The [`Outcome`] says
//! whether the actions run and with what; their fields are [`Template`]s. Evaluation is total: bounded steps,
//! text and depth, no panic.
//!
//! | module | owns |
//! | --- | --- |
//! | `lexer`, `parser`, `ast` | text to tree, errors with positions |
//! | `statement`, `template` | what a rule keeps, and how it is run |
//! | `evaluate` | tree to value, operators, SELECT, the budget |
//! | `functions` | every function, one file per family |
//! | `value`, `decimal`, [`json`] | values, exact numbers, their JSON |
//! | `input`, `external` | what an evaluation sees of the message, and calls outside |
//! | `filter` | topic filters of FROM |
//! | [`protobuf`] | messages of descriptor sets as values |
//! | `trial`, [`cases`] | a statement tried out, and files of cases with what is expected |
//!
//! Not here: choosing the rules of a topic, Basic Ingest names, actions, external calls, clocks, random
//! sources.
#![warn(missing_docs)]

mod ast;
pub mod cases;
mod decimal;
mod error;
mod evaluate;
mod external;
mod filter;
mod functions;
mod input;
pub mod json;
mod lexer;
mod parser;
pub mod protobuf;
mod statement;
mod template;
mod trial;
mod value;
mod version;

pub use self::{
    decimal::Decimal,
    error::Error,
    evaluate::{Failure, Variables},
    external::{External, ExternalError, NoExternal},
    functions::external_functions,
    input::{Input, MqttProperties, Payload, Random},
    statement::{Fired, Outcome, Output, Statement},
    template::Template,
    trial::{Report, Trial},
    value::{Object, Text, Value},
    version::{SqlVersion, UnknownVersion},
};
