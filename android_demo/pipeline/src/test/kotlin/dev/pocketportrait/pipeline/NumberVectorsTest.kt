package dev.pocketportrait.pipeline

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** Numbers: the same inputs as in Python give the same results. */
class NumberVectorsTest {
    @Test
    fun `smoothing follows the reference, sample by sample`() {
        for (case in Vectors.cases("one_euro")) {
            val filter = OneEuro(case.number("min_cutoff_hz"), case.number("beta"), case.number("speed_cutoff_hz"))
            val times = case.numbers("time_s")
            val got = case.numbers("raw").mapIndexed { k, raw -> filter.smooth(raw, times[k]) }
            assertArrayEquals(case.numbers("smooth").toDoubleArray(), got.toDoubleArray(), 1e-12)
        }
    }

    @Test
    fun `codes are moved as the Python runtime moves them, bit for bit`() {
        for (case in Vectors.cases("codes")) {
            val transfer = MotionTransfer(Motion.valueOf(case.text("motion").uppercase()))
            transfer.setSource(case.floats("source"))
            val driving = (case.getValue("driving") as List<*>).map { mapOf<String, Any?>("" to it).floats("") }
            val want = (case.getValue("given") as List<*>).map { mapOf<String, Any?>("" to it).floats("") }
            driving.forEachIndexed { k, code ->
                if (k == case.int("reset_before")) transfer.resetNeutral()
                assertArrayEquals("$k", want[k], transfer.apply(code), 0f)
            }
        }
    }

    @Test
    fun `percentiles are those of NumPy`() {
        for (case in Vectors.cases("timing")) {
            val got = Timing.of(case.numbers("ms"), case.int("warmup"))
            val want = listOf("p50_ms", "p90_ms", "p95_ms", "p99_ms").map(case::number)
            assertArrayEquals(want.toDoubleArray(), doubleArrayOf(got.p50Ms, got.p90Ms, got.p95Ms, got.p99Ms), 1e-12)
            assertEquals(case.int("repeats"), got.repeats)
        }
        assertTrue(refusal { Timing.of(listOf(1.0), warmup = 1) }.contains("more than 1 calls"))
    }

    @Test
    fun `parity and gates are those of Python`() {
        for (case in Vectors.cases("parity")) {
            val reference = case.numbers("reference").toDoubleArray()
            val peak = if (case["peak"] == null) null else case.number("peak")
            val got = Parity.of(reference, case.floats("candidate"), peak)
            val name = case.text("name")
            assertEquals(name, case.number("max_abs"), got.maxAbs, 1e-12)
            assertEquals(name, case.number("psnr_db"), got.psnrDb, 1e-8)
            assertEquals(name, case.number("cosine"), got.cosine, 1e-11)
            for (gate in case.cases("gates")) {
                val spec = TensorSpec("t", listOf(1, reference.size), layout = NC, low = 0.0, high = gate.number("high"))
                val floor = if (gate["floor"] == null) null else gate.number("floor")
                val tolerance = toleranceFor(Arithmetic.valueOf(gate.text("arithmetic").uppercase()), spec, reference, floor)
                assertEquals(name, gate.number("max_abs"), tolerance.maxAbs, 1e-15)
                assertEquals(name, gate.number("psnr_db"), tolerance.psnrDb, 0.0)
                assertEquals(name, gate["passes"], tolerance.complaint(got).isEmpty())
            }
        }
    }

    @Test
    fun `unequal sizes and a broken reference are refused`() {
        assertTrue(refusal { Parity.of(doubleArrayOf(1.0), floatArrayOf()) }.contains("want equal sizes, got 1 and 0"))
        assertTrue(refusal { Parity.of(doubleArrayOf(Double.NaN), floatArrayOf(1f)) }.contains("finite reference"))
    }
}
