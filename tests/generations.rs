//! Several generations of one volume: which of them counts and what becomes of the others, for every state of
//! their superblocks, at every power cut and with every operation failing. The files are made by hand.

mod common;
mod generation_cases;
mod generation_states;
