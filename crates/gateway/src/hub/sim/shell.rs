//! What the shell does for the core: reads, reconciling, waking.

use bytes::Bytes;
use model::Cursor;
use model::replay::{self, Verdict as Settled};

use super::super::core::{WaitFor, Wake};
use super::super::frame::render;
use super::super::page::ReadPage;
use super::super::read::ReadOutcome;
use super::log::{Kind, Lost};
use super::oracle::Verdict;
use super::world::World;

/// How far a read is.
#[derive(Debug)]
pub(super) enum Ran {
    NotYet,
    Done(ReadOutcome),
    /// The position is lost; the shell reads again from the start.
    Lost(Verdict),
}

impl World {
    pub(super) fn ask(&mut self) {
        if std::mem::take(&mut self.look) && self.reading.is_none() {
            self.reading = self.core.wanted().map(|read| (read, Ran::NotYet));
            self.reads += usize::from(self.reading.is_some());
        }
    }

    pub(super) fn run(&mut self) {
        let Some((read, ran @ Ran::NotYet)) = &mut self.reading else { return };
        self.news = false;
        if self.log.gone {
            *ran = Ran::Done(ReadOutcome::Gone);
            return;
        }
        let page = self.log.read(read.position.seq, self.setting.page);
        let judge = match self.setting.kind {
            Kind::Job => replay::settle,
            Kind::Feed => replay::settle_feed,
        };
        let lost = match judge(read.position, &page) {
            Settled::Follows => {
                let page = ReadPage::follows(read.position, page, self.log.ended()).unwrap();
                *ran = Ran::Done(ReadOutcome::Page(page));
                return;
            }
            Settled::Trimmed => Lost::Trimmed,
            Settled::Rewound => Lost::Rewound,
            Settled::Begins => {
                let (log, start) = (self.log.clone(), self.log.start());
                assert_eq!(log.lost(read.position), None, "begins anew at {start:?}");
                self.verdicts.push(Verdict { at: self.now, log, lost: None, start });
                let page = ReadPage::restart(Bytes::new(), page, false).unwrap();
                *ran = Ran::Done(ReadOutcome::Page(page));
                return;
            }
        };
        *ran = Ran::Lost(Verdict {
            at: self.now,
            log: self.log.clone(),
            lost: Some(lost),
            start: Cursor::START,
        });
    }

    pub(super) fn answer(&mut self, fails: bool) {
        self.run();
        let Some((read, ran)) = self.reading.take() else { return };
        let outcome = match ran {
            Ran::Done(outcome) if !fails => outcome,
            Ran::Lost(_) if self.log.gone && !fails => ReadOutcome::Gone,
            Ran::Lost(verdict) if !fails => {
                let start = self.log.start();
                let snapshot = render(b"snapshot", self.verdicts.len().to_string().as_bytes(), start);
                self.verdicts.push(Verdict { start, ..verdict });
                let page = self.log.read(0, self.setting.page);
                ReadOutcome::Page(ReadPage::restart(snapshot, page, self.log.ended()).unwrap())
            }
            _ => ReadOutcome::Failed,
        };
        let gone = matches!(outcome, ReadOutcome::Gone);
        let known = self
            .core
            .head()
            .filter(|_| !matches!(&outcome, ReadOutcome::Page(page) if page.snapshot.is_some()));
        let wake = self.core.answer(read, outcome);
        assert!(!(gone && self.news && self.core.gone), "gone, though it was heard of since");
        assert!(known.map(|head| head.seq) <= self.core.head().map(|head| head.seq), "forgets {known:?}");
        self.wake(wake);
    }

    pub(super) fn tell_tip(&mut self, barrier: bool) {
        let Some((asked_at, tip)) = self.tip.take() else { return };
        if self.core.differs(asked_at, tip) {
            if barrier {
                self.hear_all();
            }
            if self.core.differs(asked_at, tip) {
                let wake = self.core.unsettle();
                self.wake(wake);
            }
        }
    }

    pub(super) fn wake(&mut self, wake: Wake) {
        self.look |= wake.read;
        for stream in &mut self.streams {
            match stream.waits {
                Some(WaitFor::Head) if wake.head => stream.waits = None,
                Some(WaitFor::Read) if wake.behind => stream.waits = None,
                _ => {}
            }
        }
    }
}
