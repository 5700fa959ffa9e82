//! The page in headless Chromium: no errors, every figure drawn, no text cut off or on top of other
//! text.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::fake::{Shape, USUAL};
use super::support::reported;

/// Looks at every figure and leaves what it finds in an element of its own.
const PROBE: &str = r#"<script>
const found = [];
const say = (figure, text) => found.push(figure.id + ': ' + text);
for (const figure of document.querySelectorAll('figure')) {
  const svg = figure.querySelector('svg');
  if (!svg) { say(figure, 'no drawing'); continue; }
  const frame = svg.getBoundingClientRect();
  if (!(frame.width > 100 && frame.height > 50)) say(figure, 'empty drawing');
  const window = svg.parentNode;
  if (innerWidth > 1000 && window.scrollWidth > window.clientWidth + 1) say(figure, 'has to be scrolled');
  const area = e => { const b = e.getBoundingClientRect(); return b.width * b.height; };
  if (![...svg.querySelectorAll('.mark')].some(m => area(m) > 0)) say(figure, 'no marks');
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  const upright = [];
  for (const text of texts) {
    const box = text.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1
        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
      say(figure, 'cut off: ' + text.textContent);
    const turned = (text.parentNode.getAttribute('transform') || '').includes('rotate(-45)');
    if (!turned) upright.push([text, box]);
  }
  // Boxes are as high as a line, letters are not.
  for (let i = 0; i < upright.length; i++) for (let j = 0; j < i; j++) {
    const [a, b] = [upright[i][1], upright[j][1]];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 2 && high > 4)
      say(figure, 'overlap: ' + upright[i][0].textContent + ' | ' + upright[j][0].textContent);
  }
}
for (const image of document.images) if (!(image.complete && image.naturalWidth)) found.push('no image');
if (document.documentElement.scrollWidth > innerWidth + 1)
  found.push('wider than the window: ' + document.documentElement.scrollWidth);
if (document.title.includes('harm')) found.push('a script of a name ran');
const result = document.createElement('pre');
result.id = 'probe';
result.textContent = document.querySelectorAll('figure').length + ' figures\n' + found.slice(0, 30).join('\n') + '\nend';
document.body.append(result);
</script></body>"#;

/// The page's document after it was loaded, and what was logged.
fn load(chromium: &Path, file: &Path, width: u32) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn check(shape: Shape, figures: usize) {
    check_page(&reported(shape), figures);
}

/// Looks at the page of a run, which has so many figures.
pub fn check_page(folder: &TempDir, figures: usize) {
    check_file(&folder.path().join("run/report.html"), figures);
}

/// Looks at a page that has so many figures.
pub fn check_file(file: &Path, figures: usize) {
    let Some(chromium) = ftsurgery::testing::chromium() else {
        return;
    };
    let (dom, log) = load(&chromium, file, 1280);
    assert!(dom.contains("</html>"), "{log}");
    let errors: Vec<&str> = log.lines().filter(|l| l.contains("CONSOLE")).collect();
    assert!(errors.is_empty(), "{errors:?}");

    // The page forbids scripts; the probe is one.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    let page = fs::read_to_string(file).unwrap();
    assert_eq!(page.matches(policy).count(), 1);
    let open = page.replace(policy, "default-src 'unsafe-inline' data:");
    let probed = file.with_file_name("probed.html");
    fs::write(&probed, open.replace("</body>", PROBE)).unwrap();
    for width in [1280, 500] {
        let (dom, log) = load(&chromium, &probed, width);
        let result = dom
            .split_once("<pre id=\"probe\">")
            .and_then(|(_, rest)| rest.split_once("</pre>"));
        let Some((result, _)) = result else {
            panic!("the probe did not run: {log}");
        };
        assert_eq!(
            result,
            format!("{figures} figures\n\nend"),
            "{width} pixels wide"
        );
    }
}

#[test]
fn every_figure_of_the_usual_run_is_drawn() {
    check(USUAL, 17);
}

#[test]
fn every_figure_is_drawn_of_a_small_network_with_two_classes() {
    let small = Shape {
        layers: 3,
        per_block: 2,
        classes: 2,
        epochs: 1,
        hostile: false,
        repeats: false,
    };
    check(small, 15);
}

#[test]
fn every_figure_is_drawn_of_a_deep_network_with_a_hundred_classes_and_hostile_names() {
    let large = Shape {
        layers: 160,
        per_block: 2,
        classes: 100,
        epochs: 60,
        hostile: true,
        repeats: true,
    };
    check(large, 17);
}
