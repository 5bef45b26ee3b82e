use leaktrace::{decode::{self, Body}, source::{Item, capture}};
fn main() {
    let f = std::env::args().nth(1).unwrap();
    
    let mut r = capture::CaptureReader::open(std::path::Path::new(&f)).unwrap();
    while let Ok(Some(item)) = r.next() {
        if let Item::Records(b) = item {
            for rec in decode::records(&b) {
                match rec {
                    Ok(rec) => {
                        let h = rec.header;
                        if let Body::FdWalk(w) = &rec.body {
                            println!("{} {}:{} tab {} seq {} WALK {} cause {} base {} total {} mask {:x}", h.time_ns, h.pid, h.tid, h.table, h.seq, w.walk, w.cause, w.base, w.total, w.mask);
                            for (fd, e) in w.entries() { println!("      {fd} file {:x} ino {} dev {} mode {:o} magic {:x} cnt {}", e.identity.file, e.identity.ino, e.identity.dev, e.identity.mode, e.identity.magic, e.identity.count); }
                        } else {
                            println!("{} {}:{} tab {} seq {} next {} {:?}", h.time_ns, h.pid, h.tid, h.table, h.seq, h.next_fd, rec.body);
                        }
                    }
                    Err(e) => println!("ERR {e}"),
                }
            }
        }
    }
}
