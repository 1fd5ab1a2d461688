// Two buffers for the activations of a pass: one is filled from the stream while the other is read.
//
// A word holds one token group: LANES tokens of TERMS codes. A beat brings the whole codes that fit each port; the codes of
// BEATS beats make a word, the first beat in its lowest bits.
module activation_buffer #(
    parameter int CODES = 16,        // codes of a word: lanes times inputs
    parameter int ACTIVATION = 8,
    parameter int PORTS = 1,
    parameter int PORT_BITS = 128,
    parameter int DEPTH = 256,       // words of each buffer
    parameter int ADDRESS = $clog2(DEPTH)
) (
    input  wire                        clock,
    input  wire                        reset,
    input  wire                        enable,
    input  wire [ADDRESS:0]            token_groups,     // words of a pass
    input  wire [PORTS*PORT_BITS-1:0]  data,
    input  wire                        valid,
    output wire                        ready,
    output wire [1:0]                  full,             // which buffers hold a pass
    input  wire                        release_read,     // the buffer being read is done with
    input  wire                        read_half,
    input  wire [ADDRESS-1:0]          read_address,
    output reg  [CODES*ACTIVATION-1:0] read_data         // one cycle after its address
);
    localparam int PER_PORT = PORT_BITS / ACTIVATION;
    localparam int BEAT = PORTS * PER_PORT * ACTIVATION;
    localparam int WORD = CODES * ACTIVATION;
    localparam int BEATS = (WORD + BEAT - 1) / BEAT;

    reg [WORD-1:0] memory [0:2*(1<<ADDRESS)-1];
    reg [1:0] holds;
    reg half;
    reg [ADDRESS:0] group;
    reg [15:0] beat;
    wire [BEAT-1:0] codes;
    wire [BEATS*BEAT-1:0] word;
    wire accept = valid && ready;
    wire last_beat = beat == BEATS - 1;
    wire last_group = group == token_groups - 1'b1;

    assign full = holds;
    assign ready = enable && !holds[half];

    genvar p;
    generate
        for (p = 0; p < PORTS; p = p + 1) begin : port
            assign codes[p*PER_PORT*ACTIVATION +: PER_PORT*ACTIVATION] = data[p*PORT_BITS +: PER_PORT*ACTIVATION];
        end
        if (BEATS == 1) begin : one_beat
            assign word = codes;
        end else begin : more_beats
            reg [(BEATS-1)*BEAT-1:0] earlier;
            wire [BEATS*BEAT-1:0] shifted = {codes, earlier};
            always_ff @(posedge clock) if (accept) earlier <= shifted[BEATS*BEAT-1:BEAT];
            assign word = shifted;
        end
    endgenerate

    always_ff @(posedge clock) begin
        if (accept && last_beat) memory[{half, group[ADDRESS-1:0]}] <= word[WORD-1:0];
        read_data <= memory[{read_half, read_address}];
    end

    always_ff @(posedge clock) begin
        if (release_read) holds[read_half] <= 1'b0;
        if (accept) begin
            beat <= last_beat ? 16'd0 : beat + 16'd1;
            if (last_beat) begin
                group <= last_group ? '0 : group + 1'b1;
                if (last_group) begin
                    holds[half] <= 1'b1;
                    half <= !half;
                end
            end
        end
        if (reset) begin
            holds <= 2'b00;
            half <= 1'b0;
            group <= '0;
            beat <= 16'd0;
        end
    end
endmodule
