package dev.pocketportrait.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.widget.Button
import android.widget.TextView
import dev.pocketportrait.pipeline.CheckRecord

private const val RUNS = 30

/** Replays the golden vectors of every graph on this phone, measures, and shares the report. */
class SelfTestActivity : Activity() {
    private lateinit var result: TextView
    private lateinit var run: Button
    private lateinit var share: Button
    private var report = ""

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.self_test)
        keepInsideSystemBars(findViewById(R.id.root))
        result = findViewById(R.id.result)
        run = findViewById(R.id.run)
        share = findViewById(R.id.share)
        run.setOnClickListener { start() }
        share.setOnClickListener { shareReport() }
    }

    private fun start() {
        run.isEnabled = false
        result.setText(R.string.self_test_running)
        inBackground {
            var found: DeviceResult? = null
            val trouble = troubleOf(this) {
                found = engineNamed("ort", "cpu").use { checkDevice(applicationContext, shippedBundle(applicationContext), it, null, RUNS) }
            }
            val text = trouble ?: found?.let(::lines).orEmpty()
            val json = found?.report?.json().orEmpty()
            runOnUiThread {
                result.text = text
                report = json
                run.isEnabled = true
                share.isEnabled = json.isNotEmpty()
            }
        }
    }

    private fun lines(found: DeviceResult): String {
        val frame = found.bench.frame
        val verdict = getString(if (found.report.passed) R.string.self_test_passed else R.string.self_test_failed)
        val speed = if (frame == null) getString(R.string.bench_none, found.bench.skipped) else getString(R.string.bench_line, frame.p50Ms, frame.p95Ms)
        return (listOf(verdict, speed, "") + found.checks.map(::line)).joinToString("\n")
    }

    private fun line(check: CheckRecord): String {
        val word = if (check.passed) "PASS" else "FAIL"
        val parity = check.parity ?: return getString(R.string.check_message, word, check.graph, check.message)
        return getString(R.string.check_line, word, check.graph, check.tensor, check.sample, parity.maxAbs, parity.psnrDb)
    }

    /** Hands the report as text to whom the user chooses; the app itself sends nothing. */
    private fun shareReport() {
        val send = Intent(Intent.ACTION_SEND).setType("application/json").putExtra(Intent.EXTRA_TEXT, report)
        startActivity(Intent.createChooser(send, getString(R.string.share_report)))
    }
}
